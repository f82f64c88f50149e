"""Looks at labelled photos before anything is learned from them: `check.check_data`.

`doubts` judges labels by what the base sees, `duplicates` sorts photos that are there more than
once, `names` finds classes that are one another's double; `table`, `sections` and `page` write what
was found.
"""
