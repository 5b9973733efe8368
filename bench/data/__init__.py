"""From a split's name or a user's file to the rows that a method may see."""
