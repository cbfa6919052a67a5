"""What serving adds to the computing of the steps."""
