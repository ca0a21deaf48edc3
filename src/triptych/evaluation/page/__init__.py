"""The report of a comparison as one page: what it shows, its pictures, and the data of its script."""
