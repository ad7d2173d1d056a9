"""A fleet behind an MQTT broker."""
