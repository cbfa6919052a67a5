"""What this project claims or aims at for a GPU, item by item, with the script that shows it: `make owed`."""
