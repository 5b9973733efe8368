"""Report page: summary sentences, boards, figures and a section per method, in one offline file.

::

    summary.py    boards -> sentences           methods.py   file of a method -> its section
    pictures.py   named figures -> pictures     page.py      all of these -> template data
    templates/    the page, its style, its script

The page is computed from records only: torch and the data sets are not imported. The same records
give the same bytes.
"""

from bench.output.report.page import LIMIT, Report, build

__all__ = ["LIMIT", "Report", "build"]
