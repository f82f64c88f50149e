"""A report of a run as one page: `report.report_run`.

`findings` gathers what is to be told, `page` writes it down.
"""
