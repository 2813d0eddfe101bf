"""Files of a state folder: locks, private files, the logs of the last runs."""
