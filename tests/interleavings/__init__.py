"""Every short sequence of what people do on either side, played on plain values in every way of keeping up with it."""
