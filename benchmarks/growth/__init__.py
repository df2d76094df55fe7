"""What a tick of the declarative path costs, by what grows: downstreams, partitions, real graphs,
other assets' events; and the job path by its keys."""
