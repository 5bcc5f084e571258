/** Opens an endpoint in shared memory, prints its name, and closes it at the end of its input. */
import { Endpoint } from '../../fs/fabric/endpoint.ts';
import { findInfo } from '../../fs/fabric/info.ts';

const endpoint = new Endpoint(findInfo('shm'), false);
process.stdout.write(`${Buffer.from(endpoint.name()).toString('utf8').replace('\0', '')}\n`);
process.stdin.resume();
process.stdin.once('end', () => endpoint.close());
