"""`maskline-train data tiles`: large pictures cut, so that small objects keep their pixels."""
