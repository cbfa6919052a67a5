"""What all four commands share: how they end, and where they print. Imports none of ours."""
