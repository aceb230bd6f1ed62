"""`python -m pagerduty_sync.simulator`: a PagerDuty of one's own, on loopback unless told otherwise."""

import argparse

from .serve import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pagerduty_sync.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on (default: %(default)s)")
    parser.add_argument("--state", metavar="FILE", help="keep incidents and subscriptions in FILE across restarts")
    parser.add_argument("--public-base", metavar="URL", help="address written into links (default: from host and port)")
    options = parser.parse_args()
    run(options.host, options.port, options.state, options.public_base)


if __name__ == "__main__":
    main()
