/** Every operation that the server serves, by number. */
import { forPnfs, type Service } from './context.ts';
import { adminServices } from './handlers/admin.ts';
import { bufferServices } from './handlers/buffers.ts';
import { ioServices } from './handlers/io.ts';
import { jobServices } from './handlers/jobs.ts';
import { layoutServices } from './handlers/layout.ts';
import { namespaceServices } from './handlers/namespace.ts';
import { pinnedServices } from './handlers/pinned.ts';
import { quotaServices } from './handlers/quota.ts';
import { rmaServices } from './handlers/rma.ts';
import { sessionServices } from './handlers/session.ts';
import { topologyServices } from './handlers/topology.ts';

export const services: ReadonlyMap<number, Service> = new Map(
  [
    sessionServices,
    namespaceServices,
    ioServices,
    layoutServices.map(forPnfs),
    bufferServices.map(forPnfs),
    topologyServices.map(forPnfs),
    rmaServices.map(forPnfs),
    adminServices,
    jobServices,
    quotaServices,
    pinnedServices,
  ]
    .flat()
    .map((service) => [service.operation.number, service]),
);
