"""One offline page: what was run, in words, boards, figures and a page for each method.

::

    summary.py    boards -> sentences           methods.py   a method's file -> its page
    pictures.py   named figures -> pictures     page.py      all of these -> what templates show
    templates/    the page, its style, its script

The page is one file that asks no other computer for anything, made from records alone: neither
torch nor a method is imported. The same records give the same bytes on any day.
"""

from bench.output.report.page import LIMIT, Report, build

__all__ = ["LIMIT", "Report", "build"]
