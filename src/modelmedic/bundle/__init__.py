"""The support bundle: what support needs as one ZIP file, masked and scanned; and to read one."""
