"""Measuring `maskrcnn_engines`, whose input is a canvas of megabytes: what way it takes to the server decides."""
