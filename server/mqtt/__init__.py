"""The client side of MQTT: broker addresses, topics, and a connection that is kept up."""
