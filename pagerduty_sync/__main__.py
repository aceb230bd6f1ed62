import os
import sys

from pagerduty_sync.settings import Settings

if sys.argv[1]=="migrate":
    from pagerduty_sync.stores.database import migrate
    print(migrate(os.environ["PAGERDUTY_SYNC_DATABASE_URL"]))
elif sys.argv[1]=="quickstart":
    from pagerduty_sync.bootstrap import build
    from pagerduty_sync.handlers.quickstart import FirstAccount
    from pagerduty_sync.simulator import seeds
    s=Settings.from_environment()
    a=build(s)
    import inspect
    print(inspect.signature(FirstAccount))
    a.quickstart.run(FirstAccount(name="PagerDuty", api_key=seeds.FULL_KEY, email=seeds.BOT_EMAIL, base_url=f"http://127.0.0.1:{s.simulator_port}", service="Checkout API"), s.data_dir, print)
    a.close()
elif sys.argv[1]=="demo":
    from pagerduty_sync.demo import main
    sys.exit(main())
