"""Benchmarks of a served model: closed loop and MLPerf LoadGen, with the server's own times for each step."""
