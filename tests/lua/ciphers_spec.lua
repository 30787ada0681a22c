-- SPDX-License-Identifier: Apache-2.0
local ciphers = require "plainsight.output.ciphers"

describe("ciphers.cipher", function()
  it("has IANA's name", function()
    assert.equal("TLS_AES_128_GCM_SHA256", ciphers.cipher(0x1301))
    assert.equal("TLS_AES_256_GCM_SHA384", ciphers.cipher(0x1302))
    assert.equal("TLS_CHACHA20_POLY1305_SHA256", ciphers.cipher(0x1303))
    assert.equal("TLS_AES_128_CCM_SHA256", ciphers.cipher(0x1304))
    assert.equal("TLS_SM4_GCM_SM3", ciphers.cipher(0x00c6))
    assert.equal("TLS_RSA_WITH_AES_128_CBC_SHA", ciphers.cipher(0x002f))
    assert.equal("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ciphers.cipher(0xc02f))
    assert.equal("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", ciphers.cipher(0xcca9))
  end)

  it("has the number of what has no name", function()
    assert.equal("0x1a1a", ciphers.cipher(0x1a1a))
    assert.equal("0x0001", ciphers.cipher(1))
    assert.equal("0xffff", ciphers.cipher(0xffff))
  end)

  it("has nothing for what is not known", function() assert.is_nil(ciphers.cipher(0)) end)

  it("has no name twice, and none of another form", function()
    local numbers, count = {}, 0
    for number = 1, 0xffff do
      local name = ciphers.cipher(number)
      if name ~= ("0x%04x"):format(number) then
        assert.truthy(name:find("^TLS_[A-Z0-9_]+$"), name)
        assert.is_nil(numbers[name], name)
        numbers[name] = number
        count = count + 1
      end
    end
    assert.is_true(count > 90)
  end)

  it("agrees with the OpenSSL of this machine, of which it has every suite that is a default", function()
    local list = io.popen("openssl ciphers -V -stdname DEFAULT 2>/dev/null")
    local count = 0
    for line in list:lines() do
      local high, low, name = line:match("^%s*0x(%x%x),0x(%x%x) %- (%S+)")
      assert.equal(name, ciphers.cipher(tonumber(high .. low, 16)))
      count = count + 1
    end
    list:close()
    if count == 0 then pending("no openssl") end
  end)
end)

describe("ciphers.protocol", function()
  it("has OpenSSL's name", function()
    assert.equal("SSLv3", ciphers.protocol(0x0300))
    assert.equal("TLSv1", ciphers.protocol(0x0301))
    assert.equal("TLSv1.1", ciphers.protocol(0x0302))
    assert.equal("TLSv1.2", ciphers.protocol(0x0303))
    assert.equal("TLSv1.3", ciphers.protocol(0x0304))
  end)

  it("has the number of what has no name", function() assert.equal("0x7f1c", ciphers.protocol(0x7f1c)) end)

  it("has nothing for what is not known", function() assert.is_nil(ciphers.protocol(0)) end)
end)
