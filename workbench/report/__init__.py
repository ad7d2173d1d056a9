"""A recorded run written up as one HTML file, which needs no network and reads well on paper too."""
