"""The network: body, pyramid, region proposals, heads, targets and losses."""
