"""JPEG files to boxes and COCO RLE by ours and by the peers, on a CPU or a GPU: `make compare`."""
