"""Typed artifacts: float16, bfloat16 and int8 stages with float32 geometry."""
