"""The reliability library: the components of any installer, made reliable in process."""
