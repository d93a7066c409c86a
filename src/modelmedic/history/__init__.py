"""What earlier runs, this machine's and others', came to: one SQLite file in the state folder."""
