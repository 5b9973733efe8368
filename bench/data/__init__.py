"""Data sets, splits and views: from a split's name or a user's file to the rows a method gets."""
