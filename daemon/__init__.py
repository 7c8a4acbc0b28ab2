"""The service: pipeline, archive, MQTT, metrics, health."""
