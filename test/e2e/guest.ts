/** A virtual machine with a PCI device whose BAR is a file of the host, and the host's root to run programs from. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

const kernel = resolve('.e2e/vmlinuz');
const initrd = resolve('.e2e/initrd');
/** `npm run e2e` brings what is missing. */
export const canRunGuests = existsSync(kernel) && existsSync(initrd);

/** Emulated processors are some twenty times slower than real ones, and there may be several guests on few of those. */
const patienceMs = 240_000;

/** How a guest names a TCP port of the host's loopback. */
export const hostAddress = (port: number): string => `tcp://10.0.2.2:${port}`;

export class Guest {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #ended: Promise<void>;
  #hear: () => void = () => {};
  #isOver = false;

  /**
   * Boots, and runs the command (words without blanks).
   * @param memory a file of the host whose size is a power of two: the memory behind BAR 2 of an ivshmem device
   */
  constructor(memory: string, size: number, command: readonly string[]) {
    const parts = [
      ['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
      // With one possible processor the emulator leaves the lock prefix out, and atomics of two guests lose updates.
      ['-smp', '1,maxcpus=2', '-m', '512', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ['-kernel', kernel, '-initrd', initrd],
      ['-append', `console=ttyS0 quiet panic=-1 -- ${command.join(' ')}`],
      ['-object', `memory-backend-file,id=bar,mem-path=${memory},size=${size},share=on`],
      ['-device', 'ivshmem-plain,memdev=bar'],
      ['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
      ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net'],
    ];
    this.#process = spawn('qemu-system-x86_64', parts.flat(), { stdio: ['ignore', 'pipe', 'inherit'] });
    const { stdout } = this.#process;
    if (stdout !== null) {
      createInterface({ input: stdout }).on('line', (line) => {
        this.#lines.push(line.trim());
        this.#hear();
      });
    }
    this.#ended = new Promise((end) => {
      this.#process.on('close', () => {
        this.#isOver = true;
        this.#hear();
        end();
      });
    });
  }

  /** What its program printed after `label`, as JSON; or fails with all that was printed if it ends before. */
  async said(label: string): Promise<unknown> {
    const prefix = `${label} `;
    for (let patience = AbortSignal.timeout(patienceMs); ; ) {
      const line = this.#lines.find((each) => each.startsWith(prefix));
      if (line !== undefined) return JSON.parse(line.slice(prefix.length));
      if (this.#isOver || patience.aborted) throw new Error(`no "${label}" from the guest:\n${this.#lines.join('\n')}`);
      await new Promise<void>((wake) => {
        this.#hear = wake;
        patience.addEventListener('abort', () => wake(), { once: true });
      });
    }
  }

  /** Stops it between two instructions, as a machine that hangs, and lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal);
  }

  /** The cable is pulled. Settles when it is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }
}
