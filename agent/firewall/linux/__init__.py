"""The driver for an ordinary Linux host: strongSwan over vici, FRR over vtysh, addresses and MSS by `ip` and `nft`."""
