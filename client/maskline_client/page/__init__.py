"""`maskline-client page`: a small web page to try a served model, and the server of that page.

`cli` is the command, `serving` its socket and its end, `app` what it answers, `guard` who may ask, `answer` what the
browser is told of an image; the page itself lies in `static`. All but `cli` needs the extra `page`.
"""
