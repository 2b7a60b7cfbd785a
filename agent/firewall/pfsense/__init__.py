"""The driver for pfSense: desired tunnel -> config.xml entries, one PHP transaction on the firewall, three ways in."""
