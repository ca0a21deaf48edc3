"""Labels that may be wrong: which ones, how sure, and how to look at them and correct them."""
