"""What notebooks and dashboards of the ML Systems Workbook share; start with `mlsys --help`."""
