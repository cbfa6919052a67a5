"""Pages that a browser opens: what all reports have around them."""
