"""How pages write what Django would write the local way."""
