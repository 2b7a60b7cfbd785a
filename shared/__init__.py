"""What the control plane is made of. `wire` crosses to the agent, `domain` is pure, `control` holds the use cases."""
