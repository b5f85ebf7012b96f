"""The HTTP doors: they ask actions and the hubs, and answer in JSON. One file a noun."""
