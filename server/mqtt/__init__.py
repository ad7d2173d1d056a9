"""The MQTT client side: broker addresses, topics, connections that are kept up."""
