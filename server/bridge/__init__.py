"""The bridge to MQTT: devices publish to a broker, and a loop of the server applies their placements and answers."""
