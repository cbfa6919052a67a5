"""Large pictures in tiles, so that small objects keep their pixels; for a detector and for its asyncio twin."""
