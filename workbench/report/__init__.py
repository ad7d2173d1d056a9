"""A recorded run, or a comparison of several, as one HTML file that needs no network and prints well."""
