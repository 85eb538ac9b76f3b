"""One file per server that the lab starts. Every one comes from a wheel, listens on loopback and needs no root."""
