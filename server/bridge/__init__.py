"""The bridge to MQTT: devices publish to a broker, a loop of the server takes what they place and answers there."""
