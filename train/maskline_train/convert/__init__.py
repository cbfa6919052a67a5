"""Other frameworks' weights as models of ours, one file a framework."""
