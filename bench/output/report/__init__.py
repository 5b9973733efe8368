"""One offline page: what was run, in words, boards, figures and a page for each method.

::

    summary.py    boards -> sentences           methods.py   a method's file -> its page
    pictures.py   named figures -> pictures     page.py      all of these -> what templates show
    templates/    the page, its style, its script

The page is one offline file, computed from records: torch is not imported, and neither are data
sets. The same records give the same bytes.
"""

from bench.output.report.page import LIMIT, Report, build

__all__ = ["LIMIT", "Report", "build"]
