"""Image files decoded in processes of their own, each confined, so that a file can do no more than fail.

`pool.DecoderPool` is the way in; `worker.py` is what its processes run.
"""
