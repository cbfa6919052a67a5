"""What the paper does beyond one training run: its tables, 4-step training, distillation, overlaps."""
