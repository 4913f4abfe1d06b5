"""The set of locations, and what it should be: several sources of desired state, one set that runs.

``fleet`` owns the locations and gives orders to them; ``merge`` decides what the sources desire
together, without processes; ``source`` is the contract of a source, ``following`` reads one whenever
it has changed, ``workspace`` is the one that reads files. ``environments`` gives back what no
location uses any more, ``routing`` passes on what the watcher hears, ``change_signal`` wakes those who
wait. None of it knows of sockets, of lock files or of the service manager: ``server`` does.

May import locations and all that locations may import.
"""

__all__: list[str] = []
