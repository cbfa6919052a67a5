"""The served model against torchvision eager: JPEG in, COCO RLE out."""
