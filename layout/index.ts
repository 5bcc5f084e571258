/**
 * Layout leasing (RFC 8881 §12): who may reach which bytes of a file directly, and how to get them back. A get reserves
 * (`Layouts.get`), becomes a grant (`confirm`), and ends by a return, a recall or a fence. An operation that would pull the
 * blocks away breaks what is in its way (`break`) and waits for `broken`. Start reading at layouts.ts.
 */
export { LayoutAssertion } from './assert.ts';
export { Layouts } from './layouts.ts';
export * from './types.ts';
